// Package fsevents stands in for github.com/fsnotify/fsevents, which only builds with a C compiler for macOS. Upstream
// comes with all of Docker Compose, whose `watch` uses it on macOS; no function of the plugin watches files.
package fsevents

import (
	"errors"
	"time"
)

// What Compose compares events with and asks for.
const (
	ItemIsDir = 1 << iota
	ItemCreated
	FileEvents
	IgnoreSelf
)

// Event would say that a file changed.
type Event struct {
	Path  string
	Flags int
}

// EventStream has no events.
type EventStream struct {
	Events  chan []Event
	Paths   []string
	Latency time.Duration
	Flags   int
	EventID uint64
}

// Start refuses.
func (*EventStream) Start() error { return errors.New("files cannot be watched: built without C") }

// Stop has nothing to stop.
func (*EventStream) Stop() {}

// LatestEventID is that of no event.
func LatestEventID() uint64 { return 0 }
