package fault

import "context"

// Canceled returns the error of a canceled context, nil while it is not: its cause, where that is a fault, or else an Interrupted
// that says what of path was not done.
func Canceled(ctx context.Context, path, undone string) error {
	if ctx.Err() == nil {
		return nil
	}
	cause := context.Cause(ctx)
	if KindOf(cause) != Internal {
		return cause
	}
	return Wrap(Interrupted, path, cause, "%s", undone)
}
