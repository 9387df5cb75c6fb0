package adapter

// Config is what an adapter says about itself beyond its tensors.
type Config struct {
	Method        string // a name of the methods table, e.g. "shira"
	Mask          string // mask strategy; "" when unknown, as for masks made elsewhere
	R             int    // budget K = R·(out+in) per weight; 0 when Density gives it
	Density       float64
	TargetModules []string // as the user gave them; for a file whose targets are a pattern, all its modules
	Seed          uint64
	TaskType      string // PEFT's, e.g. "CAUSAL_LM"; may be ""

	BaseName        string // name or path of the base model, for people only
	BaseFingerprint string // of the base the adapter was trained on; "" when the file does not say, as PEFT's do not
	DataHash        string // of the training data; may be ""
	ToolVersion     string // of the program that wrote the file; may be ""
}
