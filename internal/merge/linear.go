package merge

// linear is the weighted sum, also known as task arithmetic (Ilharco et al., 2023).
var linear = Method{
	Name: "linear", Aliases: []string{"task_arithmetic"},
	Doc: "the weighted sum Σ αᵢ·ΔWᵢ",
}
