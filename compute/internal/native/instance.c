#include "instance.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALIDATION_LAYER "VK_LAYER_KHRONOS_validation"

PFN_vkGetInstanceProcAddr lk_loader(void) {
	// The versioned name: the plain one comes with development packages only.
	void *library = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
	return library ? (PFN_vkGetInstanceProcAddr)dlsym(library, "vkGetInstanceProcAddr") : NULL;
}

bool lk_has_layer(const char *name) {
	PFN_vkGetInstanceProcAddr proc = lk_loader();
	if (!proc)
		return false;
	PFN_vkEnumerateInstanceLayerProperties enumerate = (PFN_vkEnumerateInstanceLayerProperties)proc(NULL, "vkEnumerateInstanceLayerProperties");
	uint32_t count = 0;
	if (enumerate(&count, NULL) != VK_SUCCESS || count == 0)
		return false;
	VkLayerProperties *layers = calloc(count, sizeof *layers);
	bool found = false;
	if (enumerate(&count, layers) >= 0)
		for (uint32_t i = 0; i < count && !found; i++)
			found = strcmp(layers[i].layerName, name) == 0;
	free(layers);
	return found;
}

static VKAPI_ATTR VkBool32 VKAPI_CALL on_message(VkDebugUtilsMessageSeverityFlagBitsEXT severity, VkDebugUtilsMessageTypeFlagsEXT types,
	const VkDebugUtilsMessengerCallbackDataEXT *data, void *user) {
	lk_instance *in = user;
	size_t size = strlen(data->pMessage) + 1;
	struct lk_message *m = malloc(sizeof *m + size);
	m->next = NULL;
	memcpy(m->text, data->pMessage, size);
	pthread_mutex_lock(&in->lock);
	*in->last = m;
	in->last = &m->next;
	pthread_mutex_unlock(&in->lock);
	return VK_FALSE;
}

bool lk_instance_message(lk_instance *in, char *text, size_t capacity) {
	pthread_mutex_lock(&in->lock);
	struct lk_message *m = in->first;
	if (m) {
		in->first = m->next;
		if (!m->next)
			in->last = &in->first;
	}
	pthread_mutex_unlock(&in->lock);
	if (!m)
		return false;
	snprintf(text, capacity, "%s", m->text);
	free(m);
	return true;
}

static bool load_instance(lk_instance *in, PFN_vkGetInstanceProcAddr proc) {
#define LOAD(field, name) in->field = (PFN_##name)proc(in->handle, #name)
	LOAD(destroy, vkDestroyInstance);
	LOAD(enumerate, vkEnumeratePhysicalDevices);
	LOAD(device_proc, vkGetDeviceProcAddr);
	LOAD(create_device, vkCreateDevice);
	LOAD(extensions, vkEnumerateDeviceExtensionProperties);
	LOAD(features, vkGetPhysicalDeviceFeatures2);
	LOAD(properties1, vkGetPhysicalDeviceProperties);
	LOAD(properties, vkGetPhysicalDeviceProperties2);
	LOAD(memory, vkGetPhysicalDeviceMemoryProperties2);
	LOAD(families, vkGetPhysicalDeviceQueueFamilyProperties);
	LOAD(shapes, vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR);
	LOAD(flexible, vkGetPhysicalDeviceCooperativeMatrixFlexibleDimensionsPropertiesNV);
	LOAD(destroy_messenger, vkDestroyDebugUtilsMessengerEXT);
#undef LOAD
	return in->destroy && in->enumerate && in->device_proc && in->create_device && in->extensions && in->features && in->properties1 && in->properties &&
		in->memory && in->families;
}

VkResult lk_instance_create(bool validation, lk_instance **out) {
	PFN_vkGetInstanceProcAddr proc = lk_loader();
	if (!proc)
		return VK_ERROR_INITIALIZATION_FAILED;
	lk_instance *in = calloc(1, sizeof *in);
	pthread_mutex_init(&in->lock, NULL);
	in->last = &in->first;

	VkDebugUtilsMessengerCreateInfoEXT messenger = {
		.sType = VK_STRUCTURE_TYPE_DEBUG_UTILS_MESSENGER_CREATE_INFO_EXT,
		.messageSeverity = VK_DEBUG_UTILS_MESSAGE_SEVERITY_WARNING_BIT_EXT | VK_DEBUG_UTILS_MESSAGE_SEVERITY_ERROR_BIT_EXT,
		.messageType = VK_DEBUG_UTILS_MESSAGE_TYPE_VALIDATION_BIT_EXT,
		.pfnUserCallback = on_message,
		.pUserData = in,
	};
	const VkValidationFeatureEnableEXT enable[] = {VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT};
	VkValidationFeaturesEXT checks = {
		.sType = VK_STRUCTURE_TYPE_VALIDATION_FEATURES_EXT,
		.pNext = &messenger,
		.enabledValidationFeatureCount = 1,
		.pEnabledValidationFeatures = enable,
	};
	const char *layers[] = {VALIDATION_LAYER};
	const char *extensions[] = {VK_EXT_DEBUG_UTILS_EXTENSION_NAME, VK_EXT_VALIDATION_FEATURES_EXTENSION_NAME};
	VkApplicationInfo application = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO, .pApplicationName = "lorikeet", .apiVersion = VK_API_VERSION_1_3};
	VkInstanceCreateInfo create = {
		.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
		.pNext = validation ? &checks : NULL,
		.pApplicationInfo = &application,
		.enabledLayerCount = validation ? 1 : 0,
		.ppEnabledLayerNames = layers,
		.enabledExtensionCount = validation ? 2 : 0,
		.ppEnabledExtensionNames = extensions,
	};
	VkResult r = ((PFN_vkCreateInstance)proc(NULL, "vkCreateInstance"))(&create, NULL, &in->handle);
	if (r == VK_SUCCESS && !load_instance(in, proc))
		r = VK_ERROR_INCOMPATIBLE_DRIVER;
	if (r == VK_SUCCESS && validation)
		r = ((PFN_vkCreateDebugUtilsMessengerEXT)proc(in->handle, "vkCreateDebugUtilsMessengerEXT"))(in->handle, &messenger, NULL, &in->messenger);
	if (r != VK_SUCCESS) {
		lk_instance_destroy(in);
		return r;
	}
	*out = in;
	return VK_SUCCESS;
}

void lk_instance_destroy(lk_instance *in) {
	if (in->messenger)
		in->destroy_messenger(in->handle, in->messenger, NULL);
	if (in->handle && in->destroy)
		in->destroy(in->handle, NULL);
	char text[1];
	while (lk_instance_message(in, text, sizeof text))
		;
	pthread_mutex_destroy(&in->lock);
	free(in);
}

uint64_t lk_instance_handle(const lk_instance *in) { return lk_number(in->handle); }

VkResult lk_instance_devices(const lk_instance *in, uint64_t *devices, uint32_t capacity, uint32_t *count) {
	*count = capacity;
	VkResult r = in->enumerate(in->handle, count, (VkPhysicalDevice *)devices);
	return r == VK_INCOMPLETE ? VK_SUCCESS : r;
}
