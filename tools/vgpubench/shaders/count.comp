// Counts its own runs: the least work whose result shows that it was done.
#version 460

layout(local_size_x = 1) in;

layout(set = 0, binding = 1) buffer Target { float count[]; };

void main() {
    count[0] += 1;
}
