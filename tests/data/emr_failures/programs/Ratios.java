package shop;

import org.apache.spark.api.java.function.MapFunction;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.SparkSession;

public class Ratios {
    static Long ratio(Long id) {
        return 100 / (id - 5);
    }

    public static void main(String[] args) {
        SparkSession spark = SparkSession.builder().getOrCreate();
        spark.range(10).map((MapFunction<Long, Long>) Ratios::ratio, Encoders.LONG()).show();
    }
}
