package shop;

import org.apache.spark.sql.SparkSession;

public class Needs {
    public static void main(String[] args) throws Exception {
        SparkSession spark = SparkSession.builder().getOrCreate();
        Object codec = Class.forName("com.example.codec.Fast").getDeclaredConstructor().newInstance();
        System.out.println(spark.range(3).count() + " " + codec);
    }
}
