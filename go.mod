module github.com/opkit/opkit

go 1.26.0
