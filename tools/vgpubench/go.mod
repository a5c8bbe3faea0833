module lorikeet/tools/vgpubench

go 1.26.0

require (
	github.com/goki/vgpu v1.0.19
	github.com/goki/vulkan v1.0.7
)

require (
	github.com/anthonynsimon/bild v0.13.0 // indirect
	github.com/go-gl/glfw/v3.3/glfw v0.0.0-20221017161538-93cebf72946b // indirect
	github.com/goki/ki v1.1.11 // indirect
	github.com/goki/mat32 v1.0.13 // indirect
	golang.org/x/image v0.3.0 // indirect
)
