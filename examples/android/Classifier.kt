// Names what is on a bitmap, with a file that `keras_vit.export(model, "vit.tflite",
// uint8_input=True, class_names=names)` wrote. Not compiled or run yet: see README.md.

import android.graphics.Bitmap
import java.io.Closeable
import java.io.File
import java.nio.ByteBuffer
import java.nio.ByteOrder
import java.util.zip.ZipFile
import org.tensorflow.lite.Interpreter // in com.google.ai.edge.litert:litert:1.4.2

/** A class of the model and its score: a probability if the model ends in a softmax. */
data class Category(val name: String, val score: Float)

/**
 * A classifier. One thread at a time may use it, and not the main one.
 *
 * @param model A file, not an asset: copy it to `context.filesDir` first.
 */
class Classifier(model: File, threads: Int = 4) : Closeable {
    private val interpreter =
        Interpreter(model, Interpreter.Options().apply { setNumThreads(threads) })
    private val rows: Int
    private val columns: Int
    private val pixels: ByteBuffer

    /** In the order of the model's outputs. */
    val labels: List<String> = readLabels(model)

    init {
        // [1, rows, columns, 3], and a byte for each number
        val input = interpreter.getInputTensorFromSignature(INPUT, SIGNATURE)
        val shape = input.shape()
        require(shape.size == 4 && shape[3] == 3 && input.numBytes() == shape[1] * shape[2] * 3) {
            "Expected an image of uint8 [1, rows, columns, 3]; export with uint8_input=True. " +
                "Received: ${input.dataType()} ${shape.contentToString()}"
        }
        rows = shape[1]
        columns = shape[2]
        pixels = ByteBuffer.allocateDirect(rows * columns * 3).order(ByteOrder.nativeOrder())
        val classes = interpreter.getOutputTensorFromSignature(OUTPUT, SIGNATURE).shape().last()
        require(labels.size == classes) {
            "Expected a label for each of $classes classes. Received: ${labels.size}"
        }
    }

    /**
     * @param photo Upright: turn it by its EXIF orientation first.
     * @return The `top` likeliest classes, the likeliest first.
     */
    fun classify(photo: Bitmap, top: Int = 5): List<Category> {
        fill(shrink(photo))
        val scores = Array(1) { FloatArray(labels.size) }
        interpreter.runSignature(
            mapOf<String, Any>(INPUT to pixels),
            mapOf<String, Any>(OUTPUT to scores),
            SIGNATURE,
        )
        return scores[0].indices
            .sortedByDescending { scores[0][it] }
            .take(top)
            .map { Category(labels[it], scores[0][it]) }
    }

    /** The photo at the model's size. Bilinear looks at 2 x 2 pixels, so by halves at most. */
    private fun shrink(photo: Bitmap): Bitmap {
        var bitmap = photo
        while (bitmap.width != columns || bitmap.height != rows) {
            val width = if (bitmap.width > 2 * columns) (bitmap.width + 1) / 2 else columns
            val height = if (bitmap.height > 2 * rows) (bitmap.height + 1) / 2 else rows
            bitmap = Bitmap.createScaledBitmap(bitmap, width, height, true)
        }
        return bitmap
    }

    /** Red, green and blue of each pixel, row by row, a byte each. */
    private fun fill(bitmap: Bitmap) {
        val argb = IntArray(rows * columns)
        bitmap.getPixels(argb, 0, columns, 0, 0, columns, rows)
        pixels.rewind()
        for (colour in argb) {
            pixels.put((colour shr 16).toByte())
            pixels.put((colour shr 8).toByte())
            pixels.put(colour.toByte())
        }
        pixels.rewind()
    }

    override fun close() = interpreter.close()

    private companion object {
        const val SIGNATURE = "batch_1"
        const val INPUT = "image"
        const val OUTPUT = "output"

        /** TFLite's metadata is a zip archive behind the model, in the same file. */
        fun readLabels(model: File): List<String> =
            ZipFile(model).use { archive ->
                val entry = requireNotNull(archive.getEntry("labels.txt")) {
                    "Expected a labels.txt in the model's metadata. Received: $model"
                }
                archive.getInputStream(entry).bufferedReader().readLines()
            }
    }
}
