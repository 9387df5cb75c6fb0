//go:build ppc64 || s390x || mips || mips64

package checkpoint

// The conversions view stored numbers as the machine's own, which a big-endian machine would misread. This does not
// compile, and says why.
const _ int = "big-endian machines are not supported"
