package sqlstore

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/opkit/opkit/store"
)

// encode returns a record as JSON. What has a column of its own is written there
// as well, and the column is what counts.
func encode(record any) (string, error) {
	data, err := json.Marshal(record)
	if err != nil {
		return "", fmt.Errorf("sqlstore: encode: %w", err)
	}
	return string(data), nil
}

// jsonColumn scans JSON into the value that it points to.
type jsonColumn struct{ into any }

func (c jsonColumn) Scan(src any) error {
	switch src := src.(type) {
	case string:
		return json.Unmarshal([]byte(src), c.into)
	case []byte:
		return json.Unmarshal(src, c.into)
	default:
		return fmt.Errorf("sqlstore: a JSON column holds %T", src)
	}
}

// precise returns t as it comes back from the database: in UTC and to the
// microsecond.
func precise(t time.Time) time.Time {
	return t.UTC().Truncate(time.Microsecond)
}

// micros is how the database knows t. The zero time is a number as well, long
// before any other time that occurs.
func micros(t time.Time) int64 { return t.UnixMicro() }

// number is how the database knows b.
func number(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

// timeColumn scans microseconds, or NULL for the zero time.
type timeColumn struct{ into *time.Time }

func (c timeColumn) Scan(src any) error {
	switch src := src.(type) {
	case nil:
		*c.into = time.Time{}
	case int64:
		*c.into = time.UnixMicro(src).UTC()
	default:
		return fmt.Errorf("sqlstore: a time column holds %T", src)
	}
	return nil
}

// digestColumn scans hexadecimal digits.
type digestColumn struct{ into *store.Digest }

func (c digestColumn) Scan(src any) error {
	switch src := src.(type) {
	case string:
		return c.into.UnmarshalText([]byte(src))
	case []byte:
		return c.into.UnmarshalText(src)
	default:
		return fmt.Errorf("sqlstore: a digest column holds %T", src)
	}
}
