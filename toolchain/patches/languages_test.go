package lexers_test

import (
	"testing"

	"github.com/alecthomas/chroma/v2"
	"github.com/alecthomas/chroma/v2/lexers"
	"github.com/alecthomas/chroma/v2/styles"
)

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
