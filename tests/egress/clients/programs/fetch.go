// Fetches URLs with Go's own client and resolver: `fetch URL…`, one line of JSON for each.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

type found struct {
	URL     string  `json:"url"`
	Status  int     `json:"status,omitempty"`
	Body    string  `json:"body,omitempty"`
	Version string  `json:"version,omitempty"`
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"`
}

func fetched(url string) (one found) {
	began := time.Now()
	one.URL = url
	defer func() { one.Seconds = time.Since(began).Seconds() }()
	client := http.Client{Timeout: 10 * time.Second}
	answer, err := client.Get(url)
	if err != nil {
		one.Error = err.Error()
		return
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		one.Error = err.Error()
		return
	}
	one.Status, one.Body, one.Version = answer.StatusCode, string(body), answer.Proto
	return
}

func main() {
	for _, url := range os.Args[1:] {
		line, _ := json.Marshal(fetched(url))
		fmt.Println(string(line))
	}
}
