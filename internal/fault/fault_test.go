package fault

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestProblems(t *testing.T) {
	var p Problems
	if err := p.Err(Malformed, "a", "is bad"); err != nil {
		t.Errorf("no problems: %v", err)
	}
	for i := range maxProblems {
		p.Add("%d", i)
	}
	p.Suggest("first")
	p.Suggest("second")
	err := p.Err(Malformed, "a", "is bad")
	if KindOf(err) != Malformed || HintOf(err) != "first" || !strings.HasPrefix(err.Error(), "a: is bad: 0; 1;") || p.Full() {
		t.Errorf("%v, hint %q", err, HintOf(err))
	}
	p.Add("more")
	if err := p.Err(Malformed, "", ""); !strings.HasPrefix(err.Error(), "0; 1;") || !strings.HasSuffix(err.Error(), "; 7; and 1 more") || !p.Full() {
		t.Error(err)
	}
}

func TestCanceled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	if err := Canceled(ctx, "a", "not written"); err != nil {
		t.Error(err)
	}
	cancel(nil)
	if err := Canceled(ctx, "a", "not written"); KindOf(err) != Interrupted || err.Error() != "a: not written: context canceled" {
		t.Error(err)
	}
	cause := New(Malformed, "b", "is bad")
	ctx, cancel = context.WithCancelCause(context.Background())
	cancel(cause)
	if err := Canceled(ctx, "a", "not written"); !errors.Is(err, cause) {
		t.Error(err)
	}
}
