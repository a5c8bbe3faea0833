package model

import (
	"fmt"

	"lorikeet/compute"
	"lorikeet/model/checkpoint"
	"lorikeet/shaders"
)

// loadPanels reads a tensor that lies in panels, some rows of panels at a
// time: in place where the host sees them, without an uploader, else in its
// staging buffers. Rows that no part fills are zeros.
func (p *weightPlan) loadPanels(u *compute.Uploader, c *checkpoint.Checkpoint, t *plannedTensor) error {
	parts := make([][]byte, len(t.parts))
	for i, part := range t.parts {
		tensor, err := c.Tensor(part.name)
		if err != nil {
			return err
		}
		if parts[i], err = p.values(tensor, part); err != nil {
			return err
		}
	}
	line := shaders.PanelsBytes(shaders.PanelRows, t.width)
	lines := max(1, panelSlab/line)
	var last compute.UploadTicket
	for at := int64(0); at < t.span.Size; at += lines * line {
		to, first := t.span.Slice(at, min(lines*line, t.span.Size-at)), int(at/line)*shaders.PanelRows
		put := func(slab []byte) {
			if !t.fills(first, len(slab)/int(line)*shaders.PanelRows) {
				clear(slab)
			}
			for i, part := range t.parts {
				putRows(slab, parts[i], first, part)
			}
		}
		if u == nil {
			put(to.Bytes())
			continue
		}
		var err error
		if last, err = u.Write(to, put); err != nil {
			return fmt.Errorf("model: upload %q: %w", t.parts[0].name, err)
		}
	}
	if u == nil {
		return nil
	}
	if err := u.Wait(last); err != nil {
		return fmt.Errorf("model: upload %q: %w", t.parts[0].name, err)
	}
	return nil
}

// fills says whether the parts fill every element of so many rows in panels,
// from first on.
func (t *plannedTensor) fills(first, rows int) bool {
	filled := 0
	for _, part := range t.parts {
		filled += max(0, min(first+rows, part.row+part.rows)-max(first, part.row))
	}
	return filled == rows && t.width%shaders.PanelColumns == 0
}

// putRows puts those rows of a part into a slab that begins at a row of the
// matrix which lie in it.
func putRows(slab, values []byte, first int, part tensorPart) {
	rows := len(slab) / int(shaders.PanelsBytes(shaders.PanelRows, part.columns)) * shaders.PanelRows
	from, to := max(first, part.row), min(first+rows, part.row+part.rows)
	if from < to {
		row := len(values) / part.rows
		shaders.PutPanels(slab, values[(from-part.row)*row:(to-part.row)*row], from-first, part.columns)
	}
}
