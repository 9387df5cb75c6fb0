// Package procstat reads what the operating system knows of this process.
package procstat
