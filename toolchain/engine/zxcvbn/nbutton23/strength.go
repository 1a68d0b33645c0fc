// Package zxcvbn is the second name under which the CLI links the estimator.
package zxcvbn

import "github.com/ccojocar/zxcvbn-go"

// PasswordStrength is the first name's.
func PasswordStrength(password string, userInputs []string) zxcvbn.Strength {
	return zxcvbn.PasswordStrength(password, userInputs)
}
