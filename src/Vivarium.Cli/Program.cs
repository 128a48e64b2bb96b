System.Console.WriteLine("viv 0.1.0");
return 0;
