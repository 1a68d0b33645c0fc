package config

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"os"
	"path/filepath"

	"golang.org/x/crypto/pbkdf2"
)

// derivedKeysVariable names the folder that derived keys are kept in; without it each is derived anew, as upstream does.
const derivedKeysVariable = "EPHEMERA_DERIVED_KEYS"

// derivedKey is what upstream derives from a passphrase and a salt, a million rounds long, remembered in a file that is
// for its owner alone. It is for a passphrase that lies in a file next to it: who can read the one can read the other.
// What cannot be read or written is derived.
func derivedKey(phrase string, salt []byte) []byte {
	folder := os.Getenv(derivedKeysVariable)
	if folder == "" {
		return derive(phrase, salt)
	}
	file := filepath.Join(folder, keyName(phrase, salt))
	if key, ok := readKey(file); ok {
		return key
	}
	key := derive(phrase, salt)
	writeKey(file, key)
	return key
}

// derive is upstream's derivation.
func derive(phrase string, salt []byte) []byte {
	return pbkdf2.Key([]byte(phrase), salt, 1000000, SymmetricCrypterKeyBytes, sha256.New)
}

// keyName tells keys of other passphrases and salts apart.
func keyName(phrase string, salt []byte) string {
	hash := sha256.New()
	hash.Write(salt)
	hash.Write([]byte{0})
	hash.Write([]byte(phrase))
	return hex.EncodeToString(hash.Sum(nil))
}

// readKey returns the key in file, and whether it is one: the key, then its checksum.
func readKey(file string) ([]byte, bool) {
	content, err := os.ReadFile(file)
	if err != nil || len(content) != SymmetricCrypterKeyBytes+sha256.Size {
		return nil, false
	}
	key, sum := content[:SymmetricCrypterKeyBytes], sha256.Sum256(content[:SymmetricCrypterKeyBytes])
	return key, subtle.ConstantTimeCompare(content[SymmetricCrypterKeyBytes:], sum[:]) == 1
}

// writeKey writes beside file and renames, so that no reader ever sees half a key.
func writeKey(file string, key []byte) {
	partial, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*") // mode 0600
	if err != nil {
		return
	}
	sum := sha256.Sum256(key)
	_, err = partial.Write(append(append([]byte{}, key...), sum[:]...))
	if closed := partial.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(partial.Name(), file)
	}
	if err != nil {
		_ = os.Remove(partial.Name())
	}
}
