package engine

import (
	"testing"

	"github.com/ccojocar/zxcvbn-go"
)

// The CLI takes a value for a secret from 80 bits, or from 40 bits at 3 bits a character.
func TestSecretsAreToldFromPlainValues(t *testing.T) {
	for value, secret := range map[string]bool{
		"":                 false,
		"true":             false,
		"3600":             false,
		"hunter2":          false,
		"qX7#vT2!mK9z":     true,
		"c0ffee254729296a": true,
		"пароль-с-солью":   true,
	} {
		bits := zxcvbn.PasswordStrength(value, nil).Entropy
		if got := bits >= 80 || (bits >= 40 && bits/float64(len(value)) >= 3); got != secret {
			t.Errorf("%q: %.0f bits", value, bits)
		}
	}
}
