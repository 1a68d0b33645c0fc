#!/bin/bash
# The root file system of the base image, as a tar archive: rootfs.sh OUTPUT.tar SUITE CA_BUNDLE KEYRING [MIRROR].
# Needs root and debootstrap. KEYRING: signatures are checked with it; not checked where it is empty.
set -euo pipefail

output=$1 suite=$2 ca_bundle=$3 keyring=$4 mirror=${5:-}
root=$(mktemp -d "$(dirname "$output")/rootfs.XXXXXX")
trap 'rm -rf --one-file-system "$root"' EXIT

debootstrap --variant=minbase --include=ca-certificates ${keyring:+--force-check-gpg --keyring="$keyring"} \
    "$suite" "$root" ${mirror:+"$mirror"}

# Builds inside containers meet the same proxies and mirrors as the machine does.
[[ ! -e $ca_bundle ]] || cp "$ca_bundle" "$root/etc/ssl/certs/ca-certificates.crt"
mirror=$(awk '$1 == "deb" { print $2; exit }' "$root/etc/apt/sources.list")
rm "$root/etc/apt/sources.list"
cat > "$root/etc/apt/sources.list.d/debian.sources" <<EOF
Types: deb
URIs: $mirror
Suites: $suite $suite-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
EOF
for setting in Acquire::http::Proxy Acquire::https::Proxy; do
    value=$(apt-config dump --format '%v' "$setting")
    # A proxy with a user in it holds a secret: an image's layers are readable.
    [[ -z $value || $value == *@* ]] || echo "$setting \"$value\";" >> "$root/etc/apt/apt.conf.d/proxy"
done

cat > "$root/etc/apt/apt.conf.d/image" <<'EOF'
APT::Install-Recommends "false";
APT::Install-Suggests "false";
Acquire::Languages "none";
Acquire::Retries "3";
DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };
EOF
cat > "$root/etc/dpkg/dpkg.cfg.d/image" <<'EOF'
force-unsafe-io
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/lintian/*
path-exclude=/usr/share/locale/*
path-exclude=/usr/share/man/*
EOF
# A package's postinst must not start a service while an image is built.
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"

rm -rf "$root"/usr/share/{doc,info,lintian,locale,man}/* "$root"/usr/share/i18n \
    "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/archives/*.deb "$root"/var/cache/apt/*.bin \
    "$root"/var/cache/debconf/*-old "$root"/var/lib/dpkg/*-old "$root"/var/log/* \
    "$root"/etc/{hostname,resolv.conf} "$root"/dev/*
mkdir -p "$root"/usr/share/man/man{1,7,8}

tar --create --file "$output" --directory "$root" --numeric-owner --sort=name --xattrs .
