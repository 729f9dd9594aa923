// Package usermem reads and writes payload memory by payload address. An address that the payload could not use itself
// gives EFAULT, as in the kernel; protection is the host mapping's, which mirrors the payload's.
package usermem
