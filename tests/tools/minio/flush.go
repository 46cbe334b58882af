// Added to the source of MinIO that the tests are run against: lets the listen stream reach its clients.
//
// Releases up to RELEASE.2025-10-15T17-29-55Z send every event at once. A later change, which no release has, put a
// writer that can't flush between the handlers and the connection, and events wait there until 4 KiB have come together.
// Only the unreleased source is served as a Go module, so the tests build that and give it back what releases have.

package cmd

import "net/http"

func (w *trackingResponseWriter) Flush() {
	if flusher, ok := w.ResponseWriter.(http.Flusher); ok {
		flusher.Flush()
	}
}
