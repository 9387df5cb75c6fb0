// Package config holds the configuration of a training run: what its keys mean, the strict reading of the YAML file they
// come in, and the values that stand in the file's place. One table of keys drives reading, checking, `config init` and
// `config show`.
package config

// Train is a resolved configuration of `shira train`. The keys are documented in the table of keys.go; a value made by
// [Defaults] or [Parse] has a default for each that has one.
type Train struct {
	ModelNameOrPath string
	InitAdapter     string

	TrainFile          string
	Datasets           []Dataset
	ValidationFile     string
	ValidationDatasets []Dataset
	ValSetSize         float64 // below 1 a share of the training examples, otherwise how many; 0 = none
	ChatTemplate       string  // a file or name; "" = the model's
	TrainOnInputs      bool
	MaxSeqLength       int // tokens
	Packing            bool
	Shuffle            bool
	AppendEOS          bool

	Method        string
	Mask          string
	R             int     // budget K = R·(out+in) per weight, 0 when Density gives it; or a rank, see Rank
	Density       float64 // budget as a share of each weight's entries; 0 when R gives it
	TargetModules []string

	// DensityPattern has other densities than Density for some weights, by how their modules' names end; see DensityOf.
	DensityPattern map[string]float64

	ModulesToSave             []string
	LayersToTransform         []int   // nil for all
	LoraAlpha                 float64 // see Alpha
	LoraDropout               float64
	RankPattern, AlphaPattern map[string]float64
	UseRSLoRA, UseDoRA        bool
	Direction                 string  // of shira-dora; DirectionLowRank where it is empty
	Transform, Gate           string  // of foura; TransformDCT and GateSoft where they are empty
	GateHidden                *int    // nil for the rank
	GateTemperature           float64 // DefaultTemperature where it is 0

	Scope              string   // ScopeTensor where it is empty
	Axis               string   // of the mask struct; rows where it is empty
	Offset             float64  // in the unit of the budget
	Exclude            []string // paths of adapters
	CalibrationSamples int      // of the masks grad and snip and of frozen gates; DefaultCalibration where it is 0

	BatchSize                 int // rows of a micro-batch
	GradientAccumulationSteps int
	MaxSteps                  int     // 0 when NumTrainEpochs counts
	NumTrainEpochs            float64 // 0 when MaxSteps counts
	LearningRate              float64
	LRSchedulerType           string
	WarmupRatio               float64
	WarmupSteps               int // 0 when WarmupRatio counts
	LRSchedulerKwargs         map[string]string
	Optim                     string
	WeightDecay               float64
	AdamBeta1, AdamBeta2      float64
	AdamEpsilon               float64
	LoraPlusLRRatio           float64 // 0 = one rate for all
	NeftuneNoiseAlpha         float64 // 0 = no noise
	MaxGradNorm               float64 // 0 = no clipping
	ComputeDType              string
	GradientCheckpointing     bool
	MaxMemory                 float64 // GiB; 0 = no bound
	Seed                      uint64
	Threads                   int // 0 = all cores

	OutputDir          string
	OverwriteOutputDir bool
	LoggingSteps       int
	EvalStrategy       string
	EvalSteps          int // 0 = before the first and after the last step only

	SaveStrategy         string
	SaveSteps            int
	SaveTotalLimit       int    // 0 = all
	ResumeFromCheckpoint string // a directory, ResumeAuto, or "" to start anew

	LoadBestModelAtEnd     bool
	MetricForBestModel     string
	EarlyStoppingPatience  int // evaluations; 0 = never
	EarlyStoppingThreshold float64

	ReportTo   []string
	LoggingDir string

	Profile bool // measure the operators; a flag of the command, not a key
}

// Half says whether matrix products are computed in bfloat16.
func (t *Train) Half() bool { return t.ComputeDType == BFloat16 }

// The values of eval_strategy and save_strategy.
const (
	StrategyNo    = "no"
	StrategySteps = "steps"
	StrategyEpoch = "epoch"
)

// ResumeAuto stands for the newest checkpoint of output_dir.
const ResumeAuto = "auto"

// TensorBoard is the value of report_to that has an effect.
const TensorBoard = "tensorboard"

// The values of compute_dtype.
const (
	Float32  = "float32"
	BFloat16 = "bfloat16"
)
