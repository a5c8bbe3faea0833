#include "device.h"

#include <stdlib.h>
#include <string.h>

static double number_of(const VkPipelineExecutableStatisticKHR *s) {
	switch (s->format) {
	case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR:
		return s->value.b32;
	case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR:
		return s->value.i64;
	case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_FLOAT64_KHR:
		return s->value.f64;
	default:
		return s->value.u64;
	}
}

// The first executable is the compute stage; pipelines here have no other.
uint32_t lk_pipeline_statistics(const lk_device *dev, uint64_t pipeline, lk_statistic *out, uint32_t capacity) {
	if (!dev->options.statistics)
		return 0;
	VkPipelineInfoKHR info = {.sType = VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, .pipeline = lk_handle(pipeline)};
	uint32_t executables = 0;
	if (dev->executables(dev->handle, &info, &executables, NULL) != VK_SUCCESS || executables == 0)
		return 0;
	VkPipelineExecutableInfoKHR first = {.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR, .pipeline = lk_handle(pipeline)};
	VkPipelineExecutableStatisticKHR *all = calloc(capacity, sizeof *all);
	for (uint32_t i = 0; i < capacity; i++)
		all[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
	uint32_t count = capacity;
	if (dev->executable_statistics(dev->handle, &first, &count, all) < 0)
		count = 0;
	for (uint32_t i = 0; i < count; i++) {
		memcpy(out[i].name, all[i].name, sizeof out[i].name);
		out[i].value = number_of(&all[i]);
	}
	free(all);
	return count;
}
