package lexers_test

import (
	"testing"

	"github.com/alecthomas/chroma/v2"
	"github.com/alecthomas/chroma/v2/lexers"
	"github.com/alecthomas/chroma/v2/styles"
)

// Before anything is asked for: those that are written in Go.
var registeredAtStart = len(lexers.GlobalLexerRegistry.Lexers)

func TestLanguagesAreReadWhenAsked(t *testing.T) {
	if all := len(lexers.Names(false)); registeredAtStart > all/2 {
		t.Errorf("%d of %d languages are there at the start", registeredAtStart, all)
	}
}

func TestTextIsKnownByItsWords(t *testing.T) {
	for language, text := range map[string]string{
		"dns": "@ IN SOA ns.example.org. admin.example.org. 1 2 3 4 5\n",
		"Zed": "definition user {}\nrelation owner: user\npermission view = owner\n",
	} {
		if found := lexers.Analyse(text); found == nil || found != lexers.Get(language) {
			t.Errorf("%q is not found to be %s", text, language)
		}
	}
	if lexers.Get("mysql").AnalyseText("SELECT `name` FROM `users`") != 0.5 {
		t.Error("MySQL is not told from other dialects")
	}
}

func TestLanguagesAreThereWhenAsked(t *testing.T) {
	found := lexers.Get("toml")
	if found == nil {
		t.Fatal("no TOML")
	}
	tokens, err := chroma.Tokenise(found, nil, "a = 1\n")
	if err != nil || len(tokens) < 4 {
		t.Errorf("%v, %v", tokens, err)
	}
	if lexers.Match("main.go") == nil || lexers.MatchMimeType("text/html") == nil {
		t.Error("not found by the name of a file, or by its type")
	}
	if names := lexers.Names(false); len(names) < 200 {
		t.Errorf("%d languages", len(names))
	}
}

func TestColoursAreThereWhenAsked(t *testing.T) {
	mine := styles.Register(chroma.MustNewStyle("mine", chroma.StyleEntries{chroma.Text: "#fff"}))
	if styles.Get("mine") != mine || styles.Get("monokai").Name != "monokai" {
		t.Error("not the one that was asked for")
	}
	if styles.Get("no such style").Name != "swapoff" {
		t.Error("not the one for lack of a better")
	}
	if names := styles.Names(); len(names) < 50 {
		t.Errorf("%d styles", len(names))
	}
}
