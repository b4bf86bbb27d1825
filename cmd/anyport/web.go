package main

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// webServer serves HTTP on one listener until close: the metrics, or the control socket. A nil webServer does nothing.
type webServer struct {
	http http.Server
	done chan struct{} // closed when serve has returned
}

// webTimeout bounds how slowly a client may ask, and how long close waits for answers under way.
const webTimeout = 10 * time.Second

// serveWeb takes over l.
func serveWeb(l net.Listener, handler http.Handler, logger *slog.Logger) *webServer {
	w := &webServer{done: make(chan struct{})}
	w.http = http.Server{Handler: handler, ReadHeaderTimeout: webTimeout,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn)}
	go w.serve(l, logger)
	return w
}

func (w *webServer) serve(l net.Listener, logger *slog.Logger) {
	defer close(w.done)
	if err := w.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		logger.Error("an HTTP listener failed; everything else goes on", "address", l.Addr(), "error", err)
	}
}

// close closes the listener and waits for the answers under way, so that what they are made from may be closed next.
func (w *webServer) close() {
	if w == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), webTimeout)
	defer cancel()
	if w.http.Shutdown(ctx) != nil {
		w.http.Close() // cuts off the clients that do not read; an error of either tells nothing that anyone could act on
	}
	<-w.done
}
