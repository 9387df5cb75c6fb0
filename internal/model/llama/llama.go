// Package llama is the Llama decoder, versions 1 to 3 (Touvron et al. 2023; Llama 3 herd, 2024): pre-norm blocks of
// rotary grouped-query attention and SwiGLU.
package llama

import (
	"bytes"
	"fmt"
	"strings"

	"shira/internal/checkpoint"
	"shira/internal/model/bind"
	"shira/internal/nn"
)

// Model is the decoder. Shapes are out × in.
type Model struct {
	Config *Config
	Embed  *nn.Weight // (vocab, hidden)
	Layers []Layer
	Norm   *nn.Gain   // (hidden)
	Head   *nn.Weight // (vocab, hidden); Embed where tied
	heads  nn.Heads
}

// Layer is one block.
type Layer struct {
	InputNorm    *nn.Gain   // (hidden)
	Q            *nn.Weight // (heads·head, hidden)
	K, V         *nn.Weight // (kv heads·head, hidden)
	O            *nn.Weight // (hidden, heads·head)
	PostAttnNorm *nn.Gain   // (hidden)
	Gate, Up     *nn.Weight // (intermediate, hidden)
	Down         *nn.Weight // (hidden, intermediate)
}

// New declares the model's tensors to b. path is that of config.json, for messages.
func New(c *Config, path string, ckpt *checkpoint.Model, b *bind.Binder) (*Model, error) {
	if err := c.check(path); err != nil {
		return nil, err
	}
	rope, err := c.rope(path)
	if err != nil {
		return nil, err
	}
	hidden, head := c.HiddenSize, c.headSize()
	m := &Model{Config: c, heads: nn.Heads{Query: c.NumAttentionHeads, KV: c.kvHeads(), Size: head, Rope: rope}}
	m.Embed = b.Weight("model.embed_tokens", c.VocabSize, hidden)
	// A layer has nine tensors: a count of layers that the file cannot hold is not worth a message per tensor.
	if n := len(ckpt.Tensors()); c.NumHiddenLayers > n {
		b.Problem("config.json says %d layers, the file has %d tensors", c.NumHiddenLayers, n)
		return m, b.Done()
	}
	for i := range c.NumHiddenLayers {
		p := fmt.Sprintf("model.layers.%d.", i)
		m.Layers = append(m.Layers, Layer{
			InputNorm:    b.Gain(p+"input_layernorm", hidden),
			Q:            projection(b, p+"self_attn.q_proj", c.NumAttentionHeads*head, hidden, c.AttentionBias),
			K:            projection(b, p+"self_attn.k_proj", c.kvHeads()*head, hidden, c.AttentionBias),
			V:            projection(b, p+"self_attn.v_proj", c.kvHeads()*head, hidden, c.AttentionBias),
			O:            projection(b, p+"self_attn.o_proj", hidden, c.NumAttentionHeads*head, c.AttentionBias),
			PostAttnNorm: b.Gain(p+"post_attention_layernorm", hidden),
			Gate:         projection(b, p+"mlp.gate_proj", c.IntermediateSize, hidden, c.MLPBias),
			Up:           projection(b, p+"mlp.up_proj", c.IntermediateSize, hidden, c.MLPBias),
			Down:         projection(b, p+"mlp.down_proj", hidden, c.IntermediateSize, c.MLPBias),
		})
	}
	m.Norm = b.Gain("model.norm", hidden)
	// Angles were saved by old converters; they follow from the configuration.
	b.Ignore(func(name string) bool { return strings.HasSuffix(name, ".rotary_emb.inv_freq") })
	if c.TieWordEmbeddings {
		m.Head, m.Embed.Tied = m.Embed, true
		m.ignoreTiedHead(ckpt, b)
	} else {
		m.Head = b.Weight("lm_head", c.VocabSize, hidden)
	}
	return m, b.Done()
}

func projection(b *bind.Binder, name string, out, in int, bias bool) *nn.Weight {
	w := b.Weight(name, out, in)
	if bias {
		b.Bias(w)
	}
	return w
}

// ignoreTiedHead accepts a saved copy of a tied head, as some writers leave one, and refuses one that says otherwise.
func (m *Model) ignoreTiedHead(ckpt *checkpoint.Model, b *bind.Binder) {
	const name = "lm_head.weight"
	b.Ignore(func(n string) bool { return n == name })
	head, ok := ckpt.Lookup(name)
	if !ok {
		return
	}
	if e, ok := ckpt.Lookup("model.embed_tokens.weight"); ok && !bytes.Equal(head.Data(), e.Data()) {
		b.Problem("config.json ties lm_head to the embedding, but the file holds a different %s: set tie_word_embeddings to false", name)
	}
}

// Hidden adds the decoder up to its final norm to g.
func (m *Model) Hidden(g *nn.Graph) (*nn.Var, error) {
	x, err := g.Embed(m.Embed)
	if err != nil {
		return nil, err
	}
	for i := range m.Layers {
		if x, err = m.Layers[i].forward(g, x, m.heads, m.Config.RMSNormEps); err != nil {
			return nil, err
		}
	}
	return g.RMSNorm(x, m.Norm, m.Config.RMSNormEps)
}

// Loss adds the decoder and its next-token loss to g.
func (m *Model) Loss(g *nn.Graph) (*nn.Var, error) {
	x, err := m.Hidden(g)
	if err != nil {
		return nil, err
	}
	return g.CrossEntropy(x, m.Head)
}

// forward is x + O·attention(norm(x)), then x + Down·swiglu(norm(x)).
func (l *Layer) forward(g *nn.Graph, x *nn.Var, heads nn.Heads, eps float64) (*nn.Var, error) {
	h, err := g.RMSNorm(x, l.InputNorm, eps)
	if err != nil {
		return nil, err
	}
	qkv, err := g.Linear(nn.QKV, h, nil, l.Q, l.K, l.V)
	if err != nil {
		return nil, err
	}
	a, err := g.Attention(qkv, heads)
	if err != nil {
		return nil, err
	}
	if x, err = g.Linear(nn.Out, a, x, l.O); err != nil {
		return nil, err
	}
	if h, err = g.RMSNorm(x, l.PostAttnNorm, eps); err != nil {
		return nil, err
	}
	gu, err := g.Linear(nn.GateUp, h, nil, l.Gate, l.Up)
	if err != nil {
		return nil, err
	}
	if a, err = g.SwiGLU(gu); err != nil {
		return nil, err
	}
	return g.Linear(nn.Down, a, x, l.Down)
}
