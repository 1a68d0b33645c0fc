// Package zxcvbn stands in for the password estimator that the CLI asks whether a plain-text config value looks like a
// secret. The original unpacks five dictionaries when the process starts, twice, as the CLI links two copies of it:
// 0.12 s of every call of the CLI, of which one run of an environment makes half a dozen.
package zxcvbn

import (
	"math"
	"unicode"
)

// Strength is what the CLI reads of the original's result.
type Strength struct {
	Entropy float64 // bits
}

// PasswordStrength returns the entropy of a random string of that length and alphabet. The original starts from the
// same figure and lowers it for words it knows: what it takes for a secret, this takes for one too, and a few more.
// The second argument is words to lower it for, of which the CLI gives none.
func PasswordStrength(password string, _ []string) Strength {
	var lower, upper, digit, other float64
	for _, char := range password {
		switch {
		case unicode.IsLower(char):
			lower = 26
		case unicode.IsUpper(char):
			upper = 26
		case unicode.IsDigit(char):
			digit = 10
		default:
			other = 33
		}
	}
	if password == "" {
		return Strength{}
	}
	return Strength{Entropy: float64(len(password)) * math.Log2(lower+upper+digit+other)}
}
