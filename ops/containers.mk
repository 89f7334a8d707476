# With docker these commands use the two images; without, the environments of this checkout. Each says which it does.
#
# make build_dev            the image that trains (textclf-training), or .venv
# make build_api            the image that serves (textclf), or .venv-serving
# make download_base_bert   fetch and convert an encoder; handle=NAME_OR_URL, by default the embedded one
# make download_data        fetch a data set; url=…, sha256=…, and for a table text_column=… label_column=…
# make train                train into my-models; data=… encoder=… gpu=0|all tensorboard_port=… ARGS="--epochs 2 …"
# make start_api            serve on 127.0.0.1 in the background, and wait until it is ready; api_port=… model=…
# make stop_api             stop that server
handle ?= minilm-l6
url ?= https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz
encoder ?= minilm-l6
tensorboard_port ?= 6006
api_port ?= 5000

.PHONY: build_dev build_api download_base_bert download_data train start_api stop_api

build_dev:
	@ops/build.sh training

build_api:
	@ops/build.sh serving

download_base_bert:
	@handle='$(handle)' ops/download.sh encoder

download_data:
	@url='$(url)' sha256='$(sha256)' text_column='$(text_column)' label_column='$(label_column)' ops/download.sh data

train:
	@exec env data='$(data)' encoder='$(encoder)' gpu='$(gpu)' tensorboard_port='$(tensorboard_port)' ops/train.sh $(ARGS)

start_api:
	@api_port='$(api_port)' model='$(model)' ops/api.sh start

stop_api:
	@ops/api.sh stop
