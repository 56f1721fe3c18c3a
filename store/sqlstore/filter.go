package sqlstore

import "strconv"

// filter is a statement with optional conditions on columns. Every combination
// has a text of its own, so that each is answered by the index made for it.
type filter struct {
	statements map[string]*statement // by shape
}

// newFilter declares one statement for each combination of columns, which are
// ordered from the most selective to the least. fixed is the number of
// parameters before those of the conditions. declare may return nil.
func newFilter(fixed int, columns []string, declare func(conditions string) *statement) filter {
	f := filter{statements: make(map[string]*statement)}
	for combination := range 1 << len(columns) {
		values := make([]string, len(columns))
		conditions, parameter := "", fixed
		for i, column := range columns {
			if combination&(1<<i) == 0 {
				continue
			}
			parameter++
			values[i] = column
			placeholder := "?" + strconv.Itoa(parameter)
			if parameter == fixed+1 {
				// That the value is not empty is known already; this is what tells
				// SQLite that an index without the empty values will do.
				conditions += " AND " + column + " = " + placeholder + " AND " + column + " <> ''"
			} else {
				// Without statistics SQLite takes any index, and a client has more
				// grants than a user. No index serves an expression.
				conditions += " AND COALESCE(" + column + ", '') = " + placeholder
			}
		}
		f.statements[shape(values)] = declare(conditions)
	}
	return f
}

// with returns the statement for the values that are not empty, and the
// arguments of its conditions after fixed.
func (f filter) with(values []string, fixed ...any) (*statement, []any) {
	for _, value := range values {
		if value != "" {
			fixed = append(fixed, value)
		}
	}
	return f.statements[shape(values)], fixed
}

// shape tells which values are set.
func shape(values []string) string {
	s := make([]byte, len(values))
	for i, value := range values {
		s[i] = '+'
		if value == "" {
			s[i] = '-'
		}
	}
	return string(s)
}
