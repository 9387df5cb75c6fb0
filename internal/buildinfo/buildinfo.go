// Package buildinfo says which build of the program is running.
package buildinfo

import "runtime/debug"

// version is set by the linker: -X shira/internal/buildinfo.version=v1.2.3.
var version string

// Version returns the version the program was built as. Without one it is that of the module, or else "devel" with the
// revision where the go command recorded it.
func Version() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 {
			return "devel+" + s.Value[:12]
		}
	}
	return "devel"
}
