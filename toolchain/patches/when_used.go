package jsonschema

import (
	"fmt"
	"sync"
)

// compiling is held while schemas are compiled: the drafts' own, which are compiled when a first schema names them,
// belong to all compilers.
var compiling sync.Mutex

// whenUsed is what a schema of MustCompile has: it is compiled when somebody first asks something of it. Upstream
// compiles at once, which for packages that do so in variables is at every start of a process.
type whenUsed struct {
	once     sync.Once
	compile  func() *Schema
	compiled *Schema
}

// MustCompile is like Compile but panics if the url cannot be compiled to *Schema: when the schema is first used.
// Until then its fields are not set, see Compiled.
func (c *Compiler) MustCompile(url string) *Schema {
	return &Schema{later: &whenUsed{compile: func() *Schema {
		compiling.Lock()
		defer compiling.Unlock()
		return c.mustCompile(url)
	}}}
}

func (c *Compiler) mustCompile(url string) *Schema {
	s, err := c.compileNow(url)
	if err != nil {
		panic(fmt.Sprintf("jsonschema: %#v", err))
	}
	return s
}

// Compiled returns the schema with its fields set.
func (s *Schema) Compiled() *Schema {
	if s.later == nil {
		return s
	}
	s.later.once.Do(func() { s.later.compiled = s.later.compile() })
	return s.later.compiled
}

// metaSchema returns what schemas of the draft are held to; nil while it is being compiled itself.
func (d *Draft) metaSchema() *Schema {
	if load := d.load; load != nil {
		d.load = nil
		load()
	}
	return d.meta
}
