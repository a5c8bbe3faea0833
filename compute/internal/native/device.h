// What device.c shares with record.c: the device and its entry points.
#ifndef LORIKEET_DEVICE_H
#define LORIKEET_DEVICE_H

#include "instance.h"

struct lk_device {
	VkDevice handle;
	struct {
		VkQueue handle;
		VkSemaphore timeline;
		uint32_t family;
	} queue[LK_QUEUES];
	VkPipelineLayout layout;           // the one layout of the project: 128 bytes of push constants, no descriptor sets
	VkPipelineCache cache;
	lk_device_options options;         // statistics only where the device has them

	PFN_vkDestroyDevice destroy;
	PFN_vkGetDeviceQueue get_queue;
	PFN_vkCreateSemaphore create_semaphore;
	PFN_vkDestroySemaphore destroy_semaphore;
	PFN_vkCreateBuffer create_buffer;
	PFN_vkCreatePipelineLayout create_layout;
	PFN_vkDestroyPipelineLayout destroy_layout;
	PFN_vkCreatePipelineCache create_cache;
	PFN_vkDestroyPipelineCache destroy_cache;
	PFN_vkGetPipelineCacheData cache_data;
	PFN_vkCreateComputePipelines create_pipelines;
	PFN_vkDestroyPipeline destroy_pipeline;
	PFN_vkGetPipelineExecutablePropertiesKHR executables;            // with options.statistics
	PFN_vkGetPipelineExecutableStatisticsKHR executable_statistics;  // likewise
	PFN_vkGetBufferDeviceAddress buffer_address;
	PFN_vkAllocateCommandBuffers allocate_commands;
	PFN_vkFreeCommandBuffers free_commands;
	PFN_vkBeginCommandBuffer begin;
	PFN_vkEndCommandBuffer end;
	PFN_vkCmdBindPipeline bind;
	PFN_vkCmdPushConstants push;
	PFN_vkCmdDispatch dispatch;
	PFN_vkCmdDispatchIndirect dispatch_indirect;
	PFN_vkCmdPipelineBarrier barrier;
	PFN_vkCmdWriteTimestamp timestamp;
	PFN_vkCmdResetQueryPool reset_queries;
	PFN_vkCmdCopyBuffer copy;
	PFN_vkCmdFillBuffer fill;
	PFN_vkQueueSubmit submit;
	PFN_vkGetSemaphoreCounterValue counter;
	PFN_vkWaitSemaphores wait;
	PFN_vkGetQueryPoolResults query_results;
};

enum { LK_PUSH_BYTES = 128 };

#endif
