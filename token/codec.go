package token

import (
	"encoding/binary"
	"errors"
	"time"
)

// This file is the encoding of what codes, refresh tokens and opaque access
// tokens carry inside their seal: a version, then the fields in a fixed order
// without names. It is smaller than JSON, which matters for what travels in URLs,
// and one value has exactly one encoding, which a deterministic seal relies on.

// layout is the version of the fields' order. A value of another version is
// refused, so that a rolling update never reads one field as another.
const layout = 2

// errEncoding says that sealed bytes are not an encoding of this layout. It can
// only follow an update of opkit or a defect: nobody else can seal.
var errEncoding = errors.New("token: sealed value has an unknown encoding")

// encoder appends fields.
type encoder []byte

func newEncoder() encoder {
	return append(make(encoder, 0, 320), layout)
}

func (e *encoder) string(s string) {
	*e = binary.AppendUvarint(*e, uint64(len(s)))
	*e = append(*e, s...)
}

func (e *encoder) strings(list []string) {
	*e = binary.AppendUvarint(*e, uint64(len(list)))
	for _, s := range list {
		e.string(s)
	}
}

func (e *encoder) int(n int64) { *e = binary.AppendVarint(*e, n) }

// time keeps microseconds, the precision of stores.
func (e *encoder) time(t time.Time) {
	if t.IsZero() {
		e.int(0)
		return
	}
	e.int(t.UnixMicro())
}

func (e *encoder) bool(b bool) {
	if b {
		*e = append(*e, 1)
		return
	}
	*e = append(*e, 0)
}

func (e *encoder) claims(set ClaimSet) { *e = binary.AppendUvarint(*e, uint64(set)) }

// decoder reads what an encoder wrote. After the first failure every read
// returns zero; done reports it.
type decoder struct {
	rest   string
	failed bool
}

func newDecoder(raw []byte) *decoder {
	// One copy: all strings share it, and none shares the caller's bytes.
	d := &decoder{rest: string(raw)}
	if d.rest == "" || d.rest[0] != layout {
		d.fail()
		return d
	}
	d.rest = d.rest[1:]
	return d
}

func (d *decoder) fail() {
	d.rest, d.failed = "", true
}

// done returns an error if a read failed or bytes are left over.
func (d *decoder) done() error {
	if d.failed || d.rest != "" {
		return errEncoding
	}
	return nil
}

func (d *decoder) uint() uint64 {
	var n uint64
	for i := range min(len(d.rest), binary.MaxVarintLen64) {
		b := d.rest[i]
		if i == binary.MaxVarintLen64-1 && b > 1 {
			break // more than 64 bits
		}
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if b == 0 && i > 0 {
				break // a longer spelling of a shorter number
			}
			d.rest = d.rest[i+1:]
			return n
		}
	}
	d.fail()
	return 0
}

func (d *decoder) int() int64 {
	n := d.uint()
	return int64(n>>1) ^ -int64(n&1)
}

func (d *decoder) string() string {
	n := d.uint()
	if n > uint64(len(d.rest)) {
		d.fail()
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) strings() []string {
	n := d.uint()
	if n > uint64(len(d.rest)) { // each takes at least one byte
		d.fail()
	}
	if d.failed || n == 0 {
		return nil
	}
	list := make([]string, 0, n)
	for range n {
		list = append(list, d.string())
	}
	return list
}

func (d *decoder) time() time.Time {
	n := d.int()
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

func (d *decoder) bool() bool {
	if d.rest == "" || d.rest[0] > 1 {
		d.fail()
		return false
	}
	b := d.rest[0] == 1
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) claims() ClaimSet {
	n := d.uint()
	if n > uint64(allClaims) {
		d.fail()
		return 0
	}
	return ClaimSet(n)
}
