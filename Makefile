# make serve       install what is missing, build, and serve the demo on port 30000
# make test        all tests; they need a Vulkan device, a CPU one will do
# make check       formatting, vet, staticcheck, generated files, import direction
# make shaders     compile the shaders and write the Go that knows their layouts
# make demo        train the demo model and its adapters anew (needs a CUDA GPU)
# make test-coop   kernels, parity and the demo with cooperative matrices, on a newer CPU driver that it fetches into build/
# make parity      compare with what PyTorch, transformers, PEFT and tokenizers answer on CUDA
# make parity-live   PyTorch and Lorikeet on one GPU with fresh inputs (needs CUDA, PyTorch and a Vulkan driver)
# make bench       check and measure kernels and model steps beside CUDA's libraries, into docs/BENCHMARKS.md (needs CUDA and PyTorch)
# make bench-cpu   runtime, tokenizer and the demo's steps on the device at hand
# make deps, make build, make clean

STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.8.2
COOP_TESTS = TestKernelsMatchTheirTwins|TestParity|LikePEFT|ManyRows|ShortRuns|Tails|ManyLogitRows
TESTFLAGS ?=

.PHONY: deps serve build test test-coop check shaders demo parity parity-live bench bench-cpu clean

serve: deps build
	./lorikeet serve $(ARGS)

deps:
	@tools/deps/install

build:
	go build -o lorikeet .

test:
	go test -timeout 15m $(TESTFLAGS) ./...

test-coop: build/coop/run
	LORIKEET_KERNELS=coop go test -count=1 -timeout 15m -exec $(CURDIR)/build/coop/run -run '$(COOP_TESTS)' $(TESTFLAGS) ./shaders/cases ./model ./tools/parity ./server/engine

build/coop/run: tools/coop/fetch
	tools/coop/fetch

check:
	@unformatted=$$(gofmt -l .); test -z "$$unformatted" || { echo "gofmt -w $$unformatted"; exit 1; }
	go mod tidy -diff
	go vet ./...
	go run $(STATICCHECK) ./...
	go test -run 'TestCommittedModulesAreFresh|TestLayoutsMatchModules' ./shaders ./shaders/gen
	go test ./tools/arch

shaders: build/shaderc/glslang
	go run ./shaders/gen

build/shaderc/glslang: tools/shaderc/fetch tools/shaderc/packages
	tools/shaderc/fetch
	@touch $@

demo:
	python3 tools/demo/train.py --out testdata/demo

parity:
	go test -count=1 -v ./tools/parity
	go test -count=1 -v -run LikePEFT ./server/engine
	go test -count=1 -v -run Reference ./model/tokenizer

parity-live: build
	go build -o build/parity-live ./tools/parity/live
	python3 tools/parity/live/live.py --kernels build/parity-live --lorikeet lorikeet --document docs/PARITY.md $(ARGS)

bench:
	tools/bench/build
	tools/bench/run build/bench/results $(ARGS)

bench-cpu:
	go test -run '^$$' -bench . -benchmem ./compute ./model/tokenizer
	go run ./tools/stepbench -model testdata/demo -batch 1,8 -context 64 -stages

clean:
	rm -rf lorikeet build
