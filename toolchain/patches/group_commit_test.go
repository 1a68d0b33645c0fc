package backend

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pulumi/pulumi/pkg/v3/resource/deploy"
	"github.com/pulumi/pulumi/pkg/v3/secrets/b64"
	"github.com/pulumi/pulumi/sdk/v3/go/common/apitype"
)

// saves counts how many mutations each checkpoint holds.
type saves struct {
	mutations int // touched by the manager's goroutine alone, as mutators and Save are called by it
	held      atomic.Int64
	times     atomic.Int64
	fails     error
}

func (s *saves) Save(apitype.TypedDeployment) error {
	s.times.Add(1)
	s.held.Store(int64(s.mutations))
	return s.fails
}

func managed(s *saves) *SnapshotManager {
	secrets := b64.NewBase64SecretsManager()
	base := deploy.NewSnapshot(deploy.Manifest{}, secrets, nil, nil, deploy.SnapshotMetadata{}, nil, nil)
	return NewSnapshotManager(s, secrets, base, nil)
}

func TestWhatWaitsIsMutatedTogether(t *testing.T) {
	for _, test := range []struct {
		name string
		save []bool
		want bool
	}{
		{"one alone", []bool{true}, true},
		{"one elided", []bool{false}, false},
		{"the last decides for all", []bool{false, false, true}, true},
		{"the first decides for all", []bool{true, false, false}, true},
		{"all elided", []bool{false, false}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			var order []int
			waiting := make(chan mutationRequest, len(test.save))
			for index, save := range test.save {
				waiting <- mutationRequest{mutator: func() bool { order = append(order, index); return save }}
			}
			requests, save := mutated(<-waiting, waiting)
			if len(requests) != len(test.save) || save != test.want {
				t.Errorf("%d requests, save %v", len(requests), save)
			}
			for index, seen := range order {
				if seen != index {
					t.Errorf("order %v", order)
				}
			}
			if len(order) != len(test.save) {
				t.Errorf("mutators called: %v", order)
			}
		})
	}
}

func TestNobodyIsAnsweredBeforeItsCheckpoint(t *testing.T) {
	s := &saves{}
	manager := managed(s)
	const atOnce = 64
	var group sync.WaitGroup
	for range atOnce {
		group.Go(func() {
			var mine int
			if err := manager.mutate(func() bool { s.mutations++; mine = s.mutations; return true }); err != nil {
				t.Error(err)
			}
			if held := s.held.Load(); held < int64(mine) {
				t.Errorf("mutation %d answered when %d were saved", mine, held)
			}
		})
	}
	group.Wait()
	if err := manager.Close(); err != nil {
		t.Error(err)
	}
	if times := s.times.Load(); times < 1 || times > atOnce || s.held.Load() != atOnce {
		t.Errorf("%d checkpoints, the last with %d", times, s.held.Load())
	}
}

func TestElidedMutationsAreSavedAtTheEnd(t *testing.T) {
	s := &saves{}
	manager := managed(s)
	if err := manager.mutate(func() bool { s.mutations++; return false }); err != nil || s.times.Load() != 0 {
		t.Errorf("%v, %d checkpoints", err, s.times.Load())
	}
	if err := manager.Close(); err != nil || s.held.Load() != 1 {
		t.Errorf("%v, the last checkpoint has %d", err, s.held.Load())
	}
}

func TestAllWhoseCheckpointFailsAreTold(t *testing.T) {
	s := &saves{fails: errors.New("no space left on device")}
	manager := managed(s)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			if err := manager.mutate(func() bool { s.mutations++; return true }); !errors.Is(err, s.fails) {
				t.Errorf("told %v", err)
			}
		})
	}
	group.Wait()
	_ = manager.Close()
}
