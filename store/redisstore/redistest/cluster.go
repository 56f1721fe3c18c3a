package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// Cluster is a cluster of primaries that a test started.
type Cluster struct{ nodes []*Server }

// slots of a cluster.
const slots = 16384

// NewCluster starts a cluster of n primaries for one test.
func NewCluster(tb testing.TB, n int) *Cluster {
	tb.Helper()
	c := &Cluster{}
	tb.Cleanup(func() {
		for _, node := range c.nodes {
			if err := node.remove(); err != nil {
				tb.Error("redistest: ", err)
			}
		}
	})
	for range n {
		node, err := launchNode()
		demand(tb, err)
		c.nodes = append(c.nodes, node)
	}
	if err := c.join(); err != nil {
		tb.Fatal("redistest: ", err)
	}
	return c
}

// launchNode starts a server on free ports. Another program may take them in between,
// so it tries more than once.
func launchNode() (*Server, error) {
	var failures []error
	for range 3 {
		s, err := prepare()
		if err != nil {
			return nil, err
		}
		ports, err := freePorts(2)
		if err != nil {
			return nil, errors.Join(err, s.remove())
		}
		s.address = net.JoinHostPort("127.0.0.1", ports[0])
		s.args = []string{"--bind", "127.0.0.1", "--port", ports[0], "--cluster-port", ports[1],
			"--cluster-enabled", "yes", "--cluster-node-timeout", "5000", "--save", ""}
		if err = s.start(); err == nil {
			return s, nil
		}
		failures = append(failures, err, s.remove())
	}
	return nil, errors.Join(failures...)
}

func freePorts(n int) ([]string, error) {
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close() // after all are found, so that none comes twice
		ports = append(ports, strconv.Itoa(l.Addr().(*net.TCPAddr).Port))
	}
	return ports, nil
}

// join makes a cluster of the nodes and returns when it works.
func (c *Cluster) join() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	first := c.nodes[0]
	for i, node := range c.nodes {
		client := redis.NewClient(node.Options())
		defer client.Close()
		if err := client.ClusterAddSlotsRange(ctx, slots*i/len(c.nodes), slots*(i+1)/len(c.nodes)-1).Err(); err != nil {
			return err
		}
		if i == 0 {
			continue
		}
		host, port, _ := net.SplitHostPort(first.address)
		bus := first.args[5]
		if err := client.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err(); err != nil {
			return err
		}
		if err := client.Do(ctx, "CLUSTER", "MEET", host, port, bus).Err(); err != nil {
			return err
		}
	}
	for _, node := range c.nodes {
		client := redis.NewClient(node.Options())
		defer client.Close()
		for {
			info, err := client.ClusterInfo(ctx).Result()
			if err != nil {
				return err
			}
			if strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:"+strconv.Itoa(len(c.nodes))) {
				break
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("the cluster does not come up:\n%s", info)
			case <-time.After(20 * time.Millisecond):
			}
		}
	}
	return nil
}

// Client returns a client that is closed when the test ends.
func (c *Cluster) Client(tb testing.TB) *redis.ClusterClient {
	tb.Helper()
	options := &redis.ClusterOptions{ContextTimeoutEnabled: true}
	for _, node := range c.nodes {
		options.Addrs = append(options.Addrs, node.address)
	}
	client := redis.NewClusterClient(options)
	tb.Cleanup(func() { _ = client.Close() }) // a test may have closed it
	return client
}

// Nodes are the servers of the cluster.
func (c *Cluster) Nodes() []*Server { return c.nodes }
