package main

import (
	"strings"
	"sync"

	"golang.org/x/crypto/bcrypt"
)

// user is a row of the shop's own table.
type user struct {
	id       string
	email    string
	name     string
	password []byte // bcrypt
	orders   []order
}

type order struct {
	Number string `json:"number"`
	What   string `json:"what"`
	Price  string `json:"price"`
}

// users is the shop's own table.
type users struct {
	mu  sync.RWMutex
	all []user
	// nobody is checked when there is no such user, so that an answer takes as long.
	nobody []byte
}

func newUsers() (*users, error) {
	u := &users{}
	for _, row := range []user{
		{id: "cust-1815", email: "ada@example.com", name: "Ada Lovelace", orders: []order{{"A-1", "Brass gears, 12 teeth", "18.00"}, {"A-2", "Punched cards, 100", "7.50"}}},
		{id: "cust-1906", email: "grace@example.com", name: "Grace Hopper", orders: []order{{"G-1", "Wire, 30 cm", "0.10"}}},
	} {
		var err error
		if row.password, err = bcrypt.GenerateFromPassword([]byte("shop-"+row.id), bcrypt.DefaultCost); err != nil {
			return nil, err
		}
		u.all = append(u.all, row)
	}
	u.nobody = u.all[0].password
	return u, nil
}

// byID returns a user, false if there is none.
func (u *users) byID(id string) (user, bool) {
	return u.find(func(row user) bool { return row.id == id })
}

// login returns the user with that email address and password.
func (u *users) login(email, password string) (user, bool) {
	row, ok := u.find(func(row user) bool { return strings.EqualFold(row.email, email) })
	hash := u.nobody
	if ok {
		hash = row.password
	}
	if bcrypt.CompareHashAndPassword(hash, []byte(password)) != nil || !ok {
		return user{}, false
	}
	return row, true
}

func (u *users) find(is func(user) bool) (user, bool) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	for _, row := range u.all {
		if is(row) {
			return row, true
		}
	}
	return user{}, false
}
