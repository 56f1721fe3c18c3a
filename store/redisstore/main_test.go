package redisstore

import (
	"os"
	"testing"

	"github.com/opkit/opkit/store/redisstore/redistest"
)

func TestMain(m *testing.M) { os.Exit(redistest.Main(m)) }
