package passphrase

import (
	"context"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/config"
)

const (
	// derivedKeysVariable names the folder that derived keys are kept in.
	derivedKeysVariable = "EPHEMERA_DERIVED_KEYS"
	// passphraseVariable names the file with the one passphrase whose keys are kept: whoever can read them can read it,
	// too. Nothing is stored of any other passphrase, which a person may have chosen.
	passphraseVariable = "EPHEMERA_DERIVED_KEYS_PASSPHRASE"
)

// derive is upstream's derivation: NewSymmetricCrypterFromPassphrase does not hand out its key.
func derive(phrase string, salt []byte) []byte {
	key, err := pbkdf2.Key(sha256.New, phrase, salt, 1000000, config.SymmetricCrypterKeyBytes)
	if err != nil {
		panic(fmt.Sprintf("deriving a key: %v", err)) // lengths alone can be wrong, and they are constant
	}
	return key
}

// keptCrypter returns the crypter of the salt's key if that is kept and decrypts the verifier. The file is named by the
// salt alone: a name that depended on the passphrase would let anyone who lists the folder test guesses of it.
func keptCrypter(phrase string, salt []byte, verifier string) (config.Crypter, bool) {
	file, kept := keyFile(phrase, salt)
	if !kept {
		return nil, false
	}
	key, err := os.ReadFile(file)
	if err != nil || len(key) != config.SymmetricCrypterKeyBytes {
		return nil, false
	}
	crypter := config.NewSymmetricCrypter(key)
	word, err := crypter.DecryptValue(context.Background(), verifier)
	return crypter, err == nil && word == "pulumi"
}

// keepKey keeps a key that was derived for a new salt, or that has decrypted the verifier. The file therefore vouches for
// the salt: the driver shares no other. It is written beside its place and renamed, so that no reader sees half a key.
func keepKey(phrase string, salt []byte, key []byte) {
	file, kept := keyFile(phrase, salt)
	if !kept {
		return
	}
	partial, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*") // mode 0600
	if err != nil {
		return
	}
	_, err = partial.Write(key)
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

// keyFile returns where the salt's key is kept, and whether it may be: only if the passphrase is our own.
func keyFile(phrase string, salt []byte) (string, bool) {
	folder, own := os.Getenv(derivedKeysVariable), os.Getenv(passphraseVariable)
	if folder == "" || own == "" || phrase == "" {
		return "", false
	}
	content, err := os.ReadFile(own)
	if err != nil || strings.TrimSpace(string(content)) != phrase {
		return "", false
	}
	return filepath.Join(folder, hex.EncodeToString(salt)), true
}
