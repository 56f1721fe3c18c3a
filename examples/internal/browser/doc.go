// Package browser does what a person does with pages: it follows redirects, keeps
// cookies and fills in forms. It has no scripts, because the provider's pages need
// none, and reads only as much HTML as those pages have.
package browser
