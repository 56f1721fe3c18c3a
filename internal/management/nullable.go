package management

// Nullable is a member of a request body that may be left out, null, or a value:
// the three differ in a PATCH. Null resets the member to its default (RFC 7396);
// a member that is left out stays as it is.
type Nullable[T any] struct {
	// Sent reports that the member was there, Null that it was null.
	Sent, Null bool
	// Value is the zero value unless the member had one.
	Value T
}

// ApplyTo stores the value, or the zero value for null, in target if the member
// was sent.
func (n Nullable[T]) ApplyTo(target *T) {
	if n.Sent {
		*target = n.Value
	}
}

// nullable lets the decoder fill a Nullable without knowing its type.
type nullable interface {
	setNull()
	setValue() any // pointer to what the value is decoded into
}

func (n *Nullable[T]) setNull() { n.Sent, n.Null = true, true }

func (n *Nullable[T]) setValue() any {
	n.Sent = true
	return &n.Value
}
