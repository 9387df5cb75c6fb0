// Package checkpoint reads and writes models in the safetensors format: single files and Hugging Face directories with one
// or many shards.
//
// Reading trusts nothing. Headers and indexes are checked token by token before a tensor can be seen, memory stays bounded
// by the size of the files, and a file that breaks the format is a fault of kind [fault.Malformed]. Tensor data is mapped,
// not read, so that opening a model of any size is immediate.
//
// Writing is durable (see package fsx): the old file or the whole new one.
//
// The format is specified at https://github.com/huggingface/safetensors.
package checkpoint
