package jinja

// Statements.
type (
	stmt interface{ run(*context) }

	textStmt   struct{ text string }
	outputStmt struct {
		line int
		x    expr
	}
	ifStmt struct {
		line  int
		cond  []expr   // of if and each elif
		body  [][]stmt // as many, and one more for else
		final []stmt
	}
	forStmt struct {
		line   int
		target []string
		iter   expr
		filter expr // nil = all
		body   []stmt
		orElse []stmt
	}
	setStmt struct {
		line    int
		targets []setTarget
		x       expr   // nil: the text of body
		body    []stmt // of {% set x %}…{% endset %}
		filters []filterCall
	}
	setTarget struct{ name, attr string } // attr: of a namespace
	macroStmt struct {
		line     int
		name     string
		params   []string
		defaults []expr // of the last parameters
		body     []stmt
	}
	generationStmt struct {
		line int
		body []stmt
	}
	loopStmt struct { // break or continue
		line   int
		signal signal
	}
)

// Expressions.
type (
	expr interface{ eval(*context) any }

	constant struct{ v any }
	variable struct {
		line int
		name string
	}
	listExpr struct {
		line  int
		items []expr
		tuple bool
	}
	dictExpr struct {
		line         int
		keys, values []expr
	}
	attrExpr struct {
		line int
		x    expr
		name string
	}
	indexExpr struct {
		line     int
		x, index expr
	}
	sliceExpr struct {
		line              int
		x                 expr
		start, stop, step expr // nil where left out
	}
	callExpr struct {
		line int
		fn   expr
		args arguments
	}
	filterCall struct {
		line int
		name string
		f    filter
		args arguments
	}
	filterExpr struct {
		x    expr
		call filterCall
	}
	testExpr struct {
		line int
		x    expr
		name string
		f    test
		args []expr
		not  bool
	}
	unaryExpr struct {
		line int
		op   string
		x    expr
	}
	binaryExpr struct {
		line int
		op   string
		a, b expr
	}
	logicExpr struct { // and, or
		line int
		or   bool
		a, b expr
	}
	compareExpr struct {
		line int
		x    expr
		ops  []string
		rest []expr
	}
	concatExpr struct {
		line  int
		parts []expr
	}
	condExpr struct {
		line               int
		cond, then, orElse expr // orElse nil = undefined
	}
)

// arguments are those of a call as they stand in the template.
type arguments struct {
	list  []expr
	names []string // of the named ones
	named []expr
}
