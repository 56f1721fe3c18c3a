package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
)

// cluster is a number of nodes behind a balancer.
type cluster struct {
	balancer *balancer
	config   nodeConfig
	errors   io.Writer
	nodes    []*node
}

// node is a process that serves.
type node struct {
	address string
	command *exec.Cmd
}

// start adds n nodes, one after the other.
func (c *cluster) start(n int) error {
	for range n {
		started, err := c.startNode()
		if err != nil {
			return err
		}
		c.nodes = append(c.nodes, started)
	}
	return nil
}

// startNode starts this program again as a node, and lets requests come when it says
// where it listens.
func (c *cluster) startNode() (*node, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	config, err := json.Marshal(c.config)
	if err != nil {
		return nil, err
	}
	n := &node{command: exec.Command(program)}
	n.command.Env = append(os.Environ(), nodeVariable+"="+string(config))
	n.command.Stderr = c.errors
	n.command.SysProcAttr = attributes()
	out, err := n.command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := n.command.Start(); err != nil {
		return nil, err
	}
	if _, err := fmt.Fscanln(bufio.NewReader(out), &n.address); err != nil {
		return nil, errors.Join(fmt.Errorf("a node did not start: %w", err), n.command.Wait())
	}
	c.balancer.join(n.address)
	return n, nil
}

// restart replaces one node after the other. Before one is asked to stop, its successor
// serves.
func (c *cluster) restart() error {
	for i, old := range c.nodes {
		successor, err := c.startNode()
		if err != nil {
			return err
		}
		c.nodes[i] = successor
		if err := c.stopNode(old); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) stopNode(n *node) error {
	if err := n.command.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	err := n.command.Wait()
	c.balancer.remove(n.address)
	return err
}

// stop ends all nodes.
func (c *cluster) stop() error {
	var errs []error
	for _, n := range c.nodes {
		errs = append(errs, c.stopNode(n))
	}
	c.nodes = nil
	return errors.Join(errs...)
}
