"""The images that services of several systems are built on."""

from ephemera import Build

SERVICE = Build("services/common", target="service")
SERVICE_POSTGRES = Build("services/common", target="service-postgres")
