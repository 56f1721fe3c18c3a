// Package chromium drives a real browser in tests. Package browser does so without
// one, where scripts do not matter.
package chromium
