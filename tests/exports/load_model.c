/* Loads a SavedModel through TensorFlow's C API and runs it on image files, without Python.

   load_model FOLDER INPUT_OPERATION OUTPUT_OPERATION OUTPUT_INDEX IMAGE...

   The input is a string [B], the output float32 [B, k]; prints a line of k numbers per image. */

#include <stdio.h>
#include <stdlib.h>
#include <tensorflow/c/c_api.h>

static void check(TF_Status* status, const char* what) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s: %s\n", what, TF_Message(status));
  exit(1);
}

static void read_into(const char* path, TF_TString* string) {
  FILE* file = fopen(path, "rb");
  if (file == NULL) {
    perror(path);
    exit(1);
  }
  fseek(file, 0, SEEK_END);
  size_t size = ftell(file);
  rewind(file);
  char* bytes = malloc(size + 1);
  if (fread(bytes, 1, size, file) != size) exit(1);
  fclose(file);
  TF_StringInit(string);
  TF_StringCopy(string, bytes, size);
  free(bytes);
}

static TF_Operation* find(TF_Graph* graph, const char* name) {
  TF_Operation* operation = TF_GraphOperationByName(graph, name);
  if (operation == NULL) {
    fprintf(stderr, "no operation %s\n", name);
    exit(1);
  }
  return operation;
}

int main(int argc, char** argv) {
  if (argc < 6) return 2;
  TF_Status* status = TF_NewStatus();
  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  const char* tags[] = {"serve"};
  TF_Session* session =
      TF_LoadSessionFromSavedModel(options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(status, "load");

  int64_t shape[] = {argc - 5};
  TF_Tensor* images =
      TF_AllocateTensor(TF_STRING, shape, 1, shape[0] * sizeof(TF_TString));
  TF_TString* strings = TF_TensorData(images);
  for (int i = 0; i < shape[0]; i++) read_into(argv[5 + i], &strings[i]);

  TF_Output input = {find(graph, argv[2]), 0};
  TF_Output output = {find(graph, argv[3]), atoi(argv[4])};
  TF_Tensor* result = NULL;
  TF_SessionRun(session, NULL, &input, &images, 1, &output, &result, 1, NULL, 0, NULL, status);
  check(status, "run");

  const float* values = TF_TensorData(result);
  int64_t columns = TF_Dim(result, 1);
  for (int64_t i = 0; i < TF_Dim(result, 0); i++) {
    for (int64_t j = 0; j < columns; j++) printf("%.9g ", values[i * columns + j]);
    printf("\n");
  }

  TF_DeleteTensor(result);
  TF_DeleteTensor(images);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
