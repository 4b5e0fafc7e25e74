//go:build !soak

package server_test

// cutsWanted is how many lines TestRandomCuts loses.
const cutsWanted = 10_000
