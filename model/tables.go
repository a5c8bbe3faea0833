package model

import (
	"lorikeet/lora"
	"lorikeet/model/checkpoint"
)

// Tables finds a checkpoint's own embedding and output projection, for
// lora.Base.Table.
func Tables(c *checkpoint.Checkpoint) func(lora.Site) (checkpoint.Tensor, error) {
	return func(s lora.Site) (checkpoint.Tensor, error) {
		if s == lora.LMHead && !c.Config().TieEmbeddings {
			return c.Tensor("lm_head.weight")
		}
		return c.Tensor("model.embed_tokens.weight")
	}
}
