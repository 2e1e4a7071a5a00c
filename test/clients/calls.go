// Calls each URL CALLS times, one after another: go run calls.go CALLS URL...
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
)

func main() {
	calls, err := strconv.Atoi(os.Args[1])
	check(err)
	for _, url := range os.Args[2:] {
		for i := 0; i < calls; i++ {
			request, err := http.NewRequest("GET", url, nil)
			check(err)
			request.Header.Set("Authorization", "Token a")
			response, err := http.DefaultClient.Do(request)
			check(err)
			_, err = io.Copy(io.Discard, response.Body)
			check(err)
			response.Body.Close()
			fmt.Println(response.StatusCode, url)
		}
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
